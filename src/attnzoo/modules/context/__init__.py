"""Context at several scales."""

from attnzoo.modules.context import aspp as aspp
from attnzoo.modules.context import enc as enc
from attnzoo.modules.context import mixed_pooling as mixed_pooling
from attnzoo.modules.context import ocr as ocr
from attnzoo.modules.context import ocr_gather as ocr_gather
from attnzoo.modules.context import ocr_object_attention as ocr_object_attention
from attnzoo.modules.context import psp as psp
from attnzoo.modules.context import rfb as rfb
from attnzoo.modules.context import rfb_s as rfb_s
from attnzoo.modules.context import spp as spp
from attnzoo.modules.context import ssh as ssh
from attnzoo.modules.context import strip_pooling as strip_pooling
