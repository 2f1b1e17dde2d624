"""Ways to join several features."""

from attnzoo.modules.fusion import aff as aff
from attnzoo.modules.fusion import asff as asff
from attnzoo.modules.fusion import bifpn as bifpn
from attnzoo.modules.fusion import border_align as border_align
from attnzoo.modules.fusion import border_alignment as border_alignment
from attnzoo.modules.fusion import concat as concat
from attnzoo.modules.fusion import feature_fusion as feature_fusion
from attnzoo.modules.fusion import flatten as flatten
from attnzoo.modules.fusion import fpt as fpt
from attnzoo.modules.fusion import fpt_grounding as fpt_grounding
from attnzoo.modules.fusion import fpt_local_grounding as fpt_local_grounding
from attnzoo.modules.fusion import fpt_rendering as fpt_rendering
from attnzoo.modules.fusion import fpt_self as fpt_self
from attnzoo.modules.fusion import iaff as iaff
from attnzoo.modules.fusion import seb as seb
from attnzoo.modules.fusion import weighted_fusion as weighted_fusion
