"""The 1,797 handwritten digits of scikit-learn: (1, 8, 8), their 17 grey levels spread over 0 to 255.

Split by `train_test_split(test_size=500, stratify=labels, random_state=0)` into 1,297 and 500. Writers are not
kept apart, so accuracies run higher than on unseen writers.
"""

from typing import Final

import torch

from attnzoo.lab.data.options import Options
from attnzoo.lab.data.sets import Data, Split

_TEST: Final = 500


def read(options: Options) -> Data:
    """The digits, from the files that scikit-learn installs."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    raw = load_digits()
    images = torch.from_numpy(raw.images).mul(255 / 16).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(raw.target).long()
    rows = train_test_split(range(len(labels)), test_size=_TEST, stratify=raw.target, random_state=0)
    train, test = (
        Split(images[part], labels[part]).limited(limit)
        for part, limit in zip(rows, (options.limit_train, options.limit_test), strict=True)
    )
    return Data("digits", 10, train, test, mirror=False, class_names=tuple("0123456789"))
