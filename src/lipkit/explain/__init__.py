"""Why a model decides as it does: saliency maps, counterfactual inputs, and pictures of both."""

from lipkit.explain.counterfactuals import Counterfactuals, counterfactual
from lipkit.explain.margins import saliency
from lipkit.explain.plots import image_plot, transport_plot

__all__ = ["Counterfactuals", "counterfactual", "image_plot", "saliency", "transport_plot"]
