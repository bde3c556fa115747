"""SAM's attentive ConvLSTM and priors as published, to compare the rewritten ones with."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class PlainConvLSTM(nn.Module):
    """The loop of Cornia 2018, equations 1 to 8: a convolution a gate, nothing hoisted."""

    def __init__(self, channels: int) -> None:
        super().__init__()

        def conv():
            return nn.Conv2d(channels, channels, 3, padding=1)

        self.w_a, self.u_a = conv(), conv()
        self.v_a = nn.Conv2d(channels, 1, 3, padding=1, bias=False)
        self.w = nn.ModuleList(conv() for _ in range(4))  # of the gates i, f, o and c
        self.u = nn.ModuleList(conv() for _ in range(4))

    def forward(self, x):
        hidden, cell = torch.zeros_like(x), torch.zeros_like(x)
        for _ in range(4):
            energy = self.v_a(torch.tanh(self.w_a(hidden) + self.u_a(x)))
            attention = torch.softmax(energy.flatten(), 0).reshape(energy.shape)
            attended = attention * x
            i, f, o = (
                torch.sigmoid(w(attended) + u(hidden))
                for w, u in zip(self.w[:3], self.u[:3], strict=True)
            )
            new = torch.tanh(self.w[3](attended) + self.u[3](hidden))
            cell = f * cell + i * new
            hidden = o * torch.tanh(cell)
        return hidden

    @torch.no_grad()
    def take(self, lstm, positions):
        """The weights of a rewritten LSTM, whose attention has mean 1 and not sum 1."""
        self.w_a.load_state_dict(lstm.attend_hidden.state_dict())
        self.u_a.load_state_dict(lstm.attend_input.state_dict())
        self.v_a.load_state_dict(lstm.attend_score.state_dict())
        for gates, source, scale in ((self.w, "input", positions), (self.u, "hidden", 1)):
            fused = getattr(lstm, f"gates_{source}")
            for gate, weight, bias in zip(
                gates, fused.weight.chunk(4), fused.bias.chunk(4), strict=True
            ):
                gate.weight.copy_(weight * scale)
                gate.bias.copy_(bias)
        return self


def gaussians(mean, spread, height, width, isotropic):
    """(count, H, W) maps of maximum 1, a pixel at a time, from (count, 2) means and spreads."""
    maps = np.empty((len(mean), height, width))
    extent = height / width
    for k in range(len(mean)):
        mu_x, mu_y = np.clip(mean[k, 0], 0.25, 0.75), np.clip(mean[k, 1], 0.35, 0.65)
        s_x, s_y = np.clip(spread[k, 0], 0.1, 0.9), np.clip(spread[k, 1], 0.2, 0.8)
        if isotropic:
            s_x = s_y = (s_x + s_y) / 2
        for row in range(height):
            y = (1 - extent) / 2 + extent * row / (height - 1)
            for column in range(width):
                x = column / (width - 1)
                power = (x - mu_x) ** 2 / (2 * s_x**2 + 1e-7)
                power += (y - mu_y) ** 2 / (2 * s_y**2 + 1e-7)
                maps[k, row, column] = np.exp(-power)
        maps[k] /= maps[k].max()
    return maps
