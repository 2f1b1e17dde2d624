"""Networks for images of about 224 x 224 pixels."""

from attnzoo.networks.imagenet import resnet as resnet
