"""CRNN: Shi et al., "An End-to-End Trainable Neural Network for Image-based Sequence Recognition",
2015, and two recurrent nets that read features instead of pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BidirectionalLSTM(nn.Module):
    def __init__(self, cin: int, hidden: int, cout: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(cin, hidden, bidirectional=True)
        self.embedding = nn.Linear(2 * hidden, cout)

    def forward(self, x: Tensor) -> Tensor:
        recurrent, _ = self.rnn(x)
        steps, batch, width = recurrent.size()
        return self.embedding(recurrent.view(steps * batch, width)).view(steps, batch, -1)


class CRNN(nn.Module):
    """The scores of 37 signs in each of the columns of a line of text (1, 1, 32, W)."""

    def __init__(self, width: int = 16, hidden: int = 48, signs: int = 37) -> None:
        super().__init__()
        c = (width, 2 * width, 4 * width, 4 * width, 8 * width, 8 * width, 8 * width)
        kernels, padding, normed = (3, 3, 3, 3, 3, 3, 2), (1, 1, 1, 1, 1, 1, 0), (2, 4, 6)
        pools = {
            0: nn.MaxPool2d(2, 2),
            1: nn.MaxPool2d(2, 2),
            3: nn.MaxPool2d((2, 2), (2, 1), (0, 1)),
            5: nn.MaxPool2d((2, 2), (2, 1), (0, 1)),
        }
        layers: list[nn.Module] = []
        for i in range(7):
            layers.append(nn.Conv2d(1 if i == 0 else c[i - 1], c[i], kernels[i], 1, padding[i]))
            if i in normed:
                layers.append(nn.BatchNorm2d(c[i]))
            layers.append(nn.ReLU(True))
            if i in pools:
                layers.append(pools[i])
        self.cnn = nn.Sequential(*layers)
        self.rnn = nn.Sequential(
            BidirectionalLSTM(c[-1], hidden, hidden), BidirectionalLSTM(hidden, hidden, signs)
        )

    def forward(self, line: Tensor) -> Tensor:
        x = self.cnn(line)
        assert x.size(2) == 1, "the height of the features must be 1"
        x = x.squeeze(2).permute(2, 0, 1)
        return self.rnn(x)


class Tagger(nn.Module):
    """Labels of a sequence of features (1, T, 40) and the state after it, for the next part."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 48, num_layers=2, batch_first=True, dropout=0.1)
        self.norm = nn.LayerNorm(48)
        self.head = nn.Linear(48, 12)

    def forward(self, features: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        hidden, state = self.lstm(features)
        return self.head(self.norm(hidden)), state


class KeywordSpotter(nn.Module):
    """A word of 35, of a spectrogram (1, 1, 40, 61): convolutions, then a GRU both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 16, (5, 5), (2, 2), (2, 2), bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 24, 3, (2, 1), 1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
        )
        self.gru = nn.GRU(24 * 10, 32, num_layers=2, batch_first=True, bidirectional=True)
        self.attention = nn.Linear(64, 1)
        self.head = nn.Linear(64, 35)

    def forward(self, spectrogram: Tensor) -> Tensor:
        x = self.conv(spectrogram).flatten(1, 2).transpose(1, 2)
        x, _ = self.gru(x)
        share = torch.softmax(self.attention(x), dim=1)
        return self.head((x * share).sum(dim=1))
