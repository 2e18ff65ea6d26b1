from numpy import *  # noqa: F403
from numpy import __version__ as __version__
from numpy import char as char
from numpy import core as core
from numpy import ctypeslib as ctypeslib
from numpy import dtypes as dtypes
from numpy import exceptions as exceptions
from numpy import f2py as f2py
from numpy import fft as fft
from numpy import lib as lib
from numpy import linalg as linalg
from numpy import ma as ma
from numpy import polynomial as polynomial
from numpy import random as random
from numpy import rec as rec
from numpy import strings as strings
from numpy import testing as testing
from numpy import typing as typing

from ad.numpy.adoption import adopt as adopt
