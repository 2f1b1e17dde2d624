"""Parts of whole systems."""

from attnzoo.modules.network import bisenet_context_path as bisenet_context_path
from attnzoo.modules.network import bisenet_spatial_path as bisenet_spatial_path
from attnzoo.modules.network import cfnet as cfnet
from attnzoo.modules.network import cfnet_focal_next as cfnet_focal_next
from attnzoo.modules.network import cfnet_focal_swin as cfnet_focal_swin
from attnzoo.modules.network import cfnet_stage as cfnet_stage
from attnzoo.modules.network import cfnet_transition as cfnet_transition
from attnzoo.modules.network import guided_background_attention as guided_background_attention
from attnzoo.modules.network import guided_foreground_attention as guided_foreground_attention
from attnzoo.modules.network import hatt_channel as hatt_channel
from attnzoo.modules.network import hatt_matting as hatt_matting
from attnzoo.modules.network import hatt_spatial as hatt_spatial
from attnzoo.modules.network import ra_cnn_apn as ra_cnn_apn
from attnzoo.modules.network import ra_cnn_crop as ra_cnn_crop
from attnzoo.modules.network import ra_cnn_rank_loss as ra_cnn_rank_loss
