"""Whole networks, assembled from the library's modules; importing this package enters their names."""

from attnzoo.networks import branched as branched
from attnzoo.networks import cifar as cifar
from attnzoo.networks import dense as dense
from attnzoo.networks import imagenet as imagenet
