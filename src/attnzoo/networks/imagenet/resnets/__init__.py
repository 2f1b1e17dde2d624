"""Residual networks, a file for each method."""

from attnzoo.networks.imagenet.resnets import bam as bam
from attnzoo.networks.imagenet.resnets import cbam as cbam
from attnzoo.networks.imagenet.resnets import coord as coord
from attnzoo.networks.imagenet.resnets import eca as eca
from attnzoo.networks.imagenet.resnets import epsa as epsa
from attnzoo.networks.imagenet.resnets import ge as ge
from attnzoo.networks.imagenet.resnets import gsop as gsop
from attnzoo.networks.imagenet.resnets import plain as plain
from attnzoo.networks.imagenet.resnets import resnest as resnest
from attnzoo.networks.imagenet.resnets import sa as sa
from attnzoo.networks.imagenet.resnets import sc as sc
from attnzoo.networks.imagenet.resnets import se as se
from attnzoo.networks.imagenet.resnets import sk as sk
from attnzoo.networks.imagenet.resnets import triplet as triplet
