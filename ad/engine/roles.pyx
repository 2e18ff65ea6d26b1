"""The roles: which ops and functions of the table serve the operators, the rules and the sweeps.

The table is made of ops and lies above the engine. Where the engine needs a particular op, as `add` for the sum of two
cotangents, it names the role, and `ad.ops` says by `install` which op plays it.
"""

cimport cython


@cython.final
cdef class Roles:
    """The op or function of each role, as fields with a type."""


cdef Roles roles = Roles()


def install(**served):
    """Set the op or function of some roles.

    Raises
    ------
    AttributeError
        If there is no such role.
    TypeError
        If the role is that of an op, and this is none.
    """
    for name, value in served.items():
        setattr(roles, name, value)
    if "identity" in served:
        roles.identity.is_alias = True
