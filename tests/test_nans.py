"""Reductions of slices in which there is no number, beside NumPy's: the value and the warning."""
import warnings

import numpy as np
import pytest

import ad

NAN = np.nan
ARRAYS = {
    "nans": np.array([NAN, NAN]), "a row of nans": np.array([[NAN, NAN], [1.0, NAN]]), "empty": np.zeros(0),
    "empty rows": np.zeros((3, 0)), "no rows": np.zeros((0, 3)), "single": np.array([[NAN], [2.0]], np.float32),
    "integers": np.array([1, 2]), "complex": np.array([NAN + 1j, NAN]),
}
REDUCTIONS = "nansum nanmean nanvar nanstd nanmax nanmin nanmedian nanprod mean var std".split()


def told(function, *args, **kwargs):
    """What a call gives, or raises, and the warnings that are not about single operations."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = function(*args, **kwargs)
            found = found.numpy() if isinstance(found, ad.Array) else found
        except ValueError as error:
            found = str(error)
    texts = {str(w.message).rstrip(".") for w in caught}
    return found, {text for text in texts if "encountered in" not in text}


@pytest.mark.parametrize("kwargs", [{}, {"axis": 0}, {"axis": -1, "keepdims": True}], ids=["all", "first", "last"])
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_slice_without_numbers_is_as_numpys(name, array, kwargs):
    expected, texts = told(getattr(np, name), array, **kwargs)
    found, ours = told(getattr(np, name), ad.constant(array), **kwargs)
    np.testing.assert_array_equal(found, expected)
    assert np.asarray(found).dtype == np.asarray(expected).dtype
    assert ours == texts


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_gradient_is_with_the_numbers_and_of_nans_with_all():
    x = np.array([[NAN, NAN], [1.0, NAN]])
    for wrap in (lambda f: f, ad.compile):
        np.testing.assert_array_equal(wrap(ad.grad(lambda v: np.sum(np.nanmax(v, axis=0))))(x), [[0, 0.5], [1, 0.5]])
    np.testing.assert_array_equal(ad.vmap(np.nanmin)(x), [NAN, 1])
