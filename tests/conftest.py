"""What all tests share."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))  # cases.py
torch.set_num_threads(1)  # pytest-xdist runs one worker a core
