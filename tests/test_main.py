"""`python -m ad`: the fit against an independent one, and what it prints."""
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy import optimize, special

import ad
from ad import __main__ as example


@pytest.fixture(scope="module")
def problem():
    X, vote = example.load()
    return X, vote, example.likelihood(X, vote)


@pytest.fixture(scope="module")
def printed():
    run = subprocess.run([sys.executable, "-P", "-m", "ad"], capture_output=True, text=True, check=True, timeout=60)
    return run.stdout


def independent_fit(X, vote):
    """By BFGS on SciPy's own finite differences, in standardised columns so that these are accurate."""
    centre, width = X[:, 1:].mean(axis=0), X[:, 1:].std(axis=0)
    Z = np.column_stack([np.ones(len(X)), (X[:, 1:] - centre) / width])

    def f(beta):
        p = Z @ beta
        return -np.sum(special.log_expit(np.where(vote == 1, p, -p)))

    beta = optimize.minimize(f, np.zeros(Z.shape[1]), method="BFGS").x
    beta = np.append(beta[0] - np.sum(beta[1:] * centre / width), beta[1:] / width)
    weights = special.expit(X @ beta) * special.expit(-X @ beta)
    return beta, np.sqrt(np.diag(np.linalg.inv(X.T * weights @ X)))


def relative(found, expected):
    return float(np.max(np.abs(found / expected - 1)))


def test_the_reference_agrees_with_an_independent_fit(problem):
    X, vote, f = problem
    for found, expected in zip(example.scoring(X, vote), independent_fit(X, vote)):
        np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert np.abs(X.T @ (vote - special.expit(X @ example.scoring(X, vote)[0]))).max() < 1e-9


def test_a_fit_with_exact_derivatives(problem):
    X, vote, f = problem
    beta, errors = example.scoring(X, vote)
    exact = example.fit(f, np.zeros(6), method="trust-exact")
    assert relative(exact.result.x, beta) < 1e-9 and relative(exact.errors, errors) < 1e-9
    assert exact.evaluations == exact.result.nfev + exact.result.nhev < 20


def test_differences_take_more_evaluations_and_give_less(problem):
    X, vote, f = problem
    beta, errors = example.scoring(X, vote)
    exact = example.fit(f, np.zeros(6), repeat=1, method="trust-exact")
    differences = example.fit(f, np.zeros(6), repeat=1, method="BFGS", jac="2-point")
    assert differences.evaluations > 10 * exact.evaluations
    assert relative(differences.result.x, beta) > 1e3 * relative(exact.result.x, beta)
    assert relative(differences.errors, errors) > 0.01


def test_the_data_are_whole(problem):
    X, vote, _ = problem
    assert X.shape == (944, 6) and set(vote) == {0.0, 1.0}
    assert np.all(np.isfinite(X)) and np.all(X[:, 0] == 1)


def test_printed_table_is_the_fit(printed, problem):
    X, vote, _ = problem
    beta, errors = independent_fit(X, vote)
    rows = re.findall(r"^  (\w+) +(-?\d+\.\d{4}) +(\d+\.\d{4}) +(-?\d+\.\d{2})", printed, re.MULTILINE)
    assert [row[0] for row in rows] == ["constant", *example.FEATURES]
    np.testing.assert_allclose([float(row[1]) for row in rows], beta, rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose([float(row[2]) for row in rows], errors, rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose([float(row[3]) for row in rows], beta / errors, rtol=2e-3, atol=1e-2)


def test_printed_comparison(printed, problem):
    X, vote, f = problem
    rows = {line[2:28].strip(): line[28:].split() for line in printed.splitlines() if len(line) == 80}
    assert rows["SciPy's method"] == ["trust-exact", "BFGS", "BFGS", "BFGS"]
    exact = example.fit(f, np.zeros(6), repeat=1, method="trust-exact").result
    counts = [rows[name][0] for name in ("iterations", "evaluations of f", "gradients", "Hessians")]
    assert counts == [str(n) for n in (exact.nit, exact.nfev + exact.nhev, exact.njev, exact.nhev)]
    assert float(rows["error of coefficients"][0]) < 1e-8 < float(rows["error of coefficients"][2])
    assert float(rows["error of standard errors"][0]) < 1e-8
    assert all(cell.endswith("%") for cell in rows["error of standard errors"][1:])
    assert max(map(len, printed.splitlines())) <= 90


def test_source_licence_and_checks_are_printed(printed):
    assert "electionstudies.org" in printed and "public domain" in printed
    assert "against central differences: gradient within" in printed


def test_ends_with_the_training_loop(printed):
    label, value = printed.strip().splitlines()[-1].rsplit(maxsplit=1)
    assert label == "Optimized value of x:"
    assert float(value) == pytest.approx(-(0.8**100), rel=1e-12)


def test_a_wrong_derivative_stops_it(problem, monkeypatch, capsys):
    wrong = ad.hessian
    monkeypatch.setattr(ad, "hessian", lambda f: lambda beta: 1.001 * wrong(f)(beta))
    assert example.main() == 1
    captured = capsys.readouterr()
    assert "Hessian and central differences disagree" in captured.err
    assert "estimate" not in captured.out


def test_without_scipy():
    code = "import sys; sys.modules['scipy'] = None; from ad.__main__ import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'ad.optimize needs SciPy: pip install "dualtape[scipy]"\n'
