"""What a network takes on the device at hand: time of a forward pass and of a training step, energy."""

from attnzoo.lab.measure.energy import Meter, meter
from attnzoo.lab.measure.latency import Latency, forward, training_step

__all__ = ["Latency", "Meter", "forward", "meter", "training_step"]
