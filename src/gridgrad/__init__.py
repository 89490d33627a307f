"""Derivatives of sampled data: values on a grid, not functions.

>>> import numpy as np
>>> import gridgrad
>>> gridgrad.gradient(np.array([1.0, 2.0, 4.0, 7.0]), spacing=0.5)
(array([2., 3., 5., 6.]),)
"""

from gridgrad._version import __version__ as __version__
from gridgrad.engines.threads import get_num_threads as get_num_threads
from gridgrad.engines.threads import set_num_threads as set_num_threads
from gridgrad.errors import GridError as GridError
from gridgrad.errors import GridIndexError as GridIndexError
from gridgrad.errors import GridTypeError as GridTypeError
from gridgrad.errors import GridWarning as GridWarning
from gridgrad.errors import NonMonotonicWarning as NonMonotonicWarning
from gridgrad.formulas import weights as weights
from gridgrad.matrices import derivative_matrix as derivative_matrix
from gridgrad.matrices import operator_matrix as operator_matrix
from gridgrad.operators import derivative as derivative
from gridgrad.operators import gradient as gradient
from gridgrad.vectors import curl as curl
from gridgrad.vectors import directional_derivative as directional_derivative
from gridgrad.vectors import divergence as divergence
from gridgrad.vectors import hessian as hessian
from gridgrad.vectors import jacobian as jacobian
from gridgrad.vectors import laplacian as laplacian
