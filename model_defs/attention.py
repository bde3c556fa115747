"""SAM's attentive convolutional LSTM (Cornia 2018, equations 1 to 8), rewritten for export.

The rewrites are exact: the loop is unrolled; U_a * X, the same at every step, is computed once;
at the first step the state is 0, so that its convolutions are their biases; and the four gates
are one convolution.
"""

from __future__ import annotations

from torch import Tensor, nn


class AttentiveConvLSTM(nn.Module):
    """(N, C, H, W) -> (N, C, H, W), the hidden state after `steps` looks at the same input.

    `size` is (H, W).

    The attention has mean 1 over the H * W positions, not sum 1 as published: sums to 1 are
    about 1e-3 each, which 8-bit activations cannot hold. Hence `gates_input` is the published
    W_i, W_f, W_o, W_c, one after the other, divided by H * W.
    """

    def __init__(self, channels: int, size: tuple[int, int], steps: int = 4) -> None:
        super().__init__()
        self.size = size
        self.steps = steps
        self.attend_input = _conv(channels, channels)  # U_a
        self.attend_hidden = _conv(channels, channels)  # W_a and b_a
        self.attend_score = nn.Conv2d(channels, 1, 3, padding=1, bias=False)  # V_a
        self.gates_input = _conv(channels, 4 * channels)  # W_i, W_f, W_o, W_c
        self.gates_hidden = _conv(channels, 4 * channels)  # U_i, U_f, U_o, U_c

    def forward(self, x: Tensor) -> Tensor:
        seen = self.attend_input(x)  # (N, C, H, W)
        attended = self._attend(x, seen + _of_zeros(self.attend_hidden))
        gates = self.gates_input(attended) + _of_zeros(self.gates_hidden)  # (N, 4C, H, W)
        take, _, show, new = self._activated(gates)
        cell = take * new
        hidden = show * cell.tanh()
        for _ in range(self.steps - 1):
            attended = self._attend(x, seen + self.attend_hidden(hidden))
            take, keep, show, new = self._activated(
                self.gates_input(attended) + self.gates_hidden(hidden)
            )
            cell = keep * cell + take * new
            hidden = show * cell.tanh()
        return hidden

    def _attend(self, x: Tensor, energy: Tensor) -> Tensor:
        score = self.attend_score(energy.tanh())  # (N, 1, H, W)
        height, width = self.size
        attention = score.flatten(2).softmax(2) * float(height * width)  # (N, 1, H * W)
        return x * attention.reshape(-1, 1, height, width)

    def _activated(self, gates: Tensor) -> tuple[Tensor, ...]:
        channels = self.gates_hidden.out_channels // 4  # fewer in a pruned net
        sigmoids, new = gates.split((3 * channels, channels), 1)
        return *sigmoids.sigmoid().chunk(3, 1), new.tanh()


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _of_zeros(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias.reshape(1, -1, 1, 1)
