"""Gates per place."""

from attnzoo.modules.spatial import esa as esa
from attnzoo.modules.spatial import pixel_attention as pixel_attention
from attnzoo.modules.spatial import residual_attention as residual_attention
from attnzoo.modules.spatial import sge as sge
from attnzoo.modules.spatial import sse as sse
from attnzoo.modules.spatial import stn as stn
from attnzoo.modules.spatial import stn_tps as stn_tps
from attnzoo.modules.spatial import ulsam as ulsam
