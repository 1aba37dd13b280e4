from . import constraints as constraints
from . import covariances as covariances
from . import evaluation as evaluation
from . import moments as moments
from . import objectives as objectives
from . import optima as optima
from . import optimizers as optimizers
from . import plotting as plotting
from . import priors as priors
from . import prompts as prompts
from . import regimes as regimes
from . import store as store
from . import training as training
from .attention import predict as predict
from .attention import predict_from_gram as predict_from_gram
from .empirical import RiskEstimate as RiskEstimate
from .empirical import empirical_risk as empirical_risk
from .population import population_risk as population_risk
from .population import prior_risk as prior_risk
from .priors import FiniteTasks as FiniteTasks
from .priors import GaussianPrior as GaussianPrior
from .priors import SpherePrior as SpherePrior
from .problem import LinearRegression as LinearRegression
from .problem import Params as Params

__version__: str
