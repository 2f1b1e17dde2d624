"""Gates per channel."""

from attnzoo.modules.channel import eca as eca
from attnzoo.modules.channel import psa as psa
from attnzoo.modules.channel import se as se
from attnzoo.modules.channel import sk as sk
