"""Gates per channel and place."""

from attnzoo.modules.channel_spatial import bam as bam
from attnzoo.modules.channel_spatial import cbam as cbam
from attnzoo.modules.channel_spatial import coord as coord
from attnzoo.modules.channel_spatial import simam as simam
