"""The masked autoencoder: encode what is visible, decode what is hidden.

Shapes: B batch, P parcels, T time points, N patches, K visible patches kept, M hidden patches decoded, V values of one
patch, S = 1 + K or 1 + K + M tokens, D width. Masks come from ``masks.py``; scaling has happened before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from brainlm.errors import ConfigError
from brainlm.model.conditional import conditional_mean, sized_as
from brainlm.model.config import ModelConfig
from brainlm.model.layers import INIT_STD, Observer, Transformer, initialise, prediction_head
from brainlm.model.space_time import window_mean
from brainlm.model.tokens import Positions, Tokenizer


@dataclass(frozen=True)
class Places:
    """Which patches of each window take part, in raster order.

    ``present_BK`` is False where a window has fewer than K and the place only fills up the batch; None = none does.
    """

    index_BK: Int64[Tensor, "B K"]
    present_BK: Bool[Tensor, "B K"] | None

    @classmethod
    def of(cls, flag_BN: Bool[Tensor, "B N"], *, count: int | None = None) -> Places:
        """The places where ``flag_BN`` holds.

        Args:
            flag_BN: which patches take part.
            count: K, where the caller knows that every window has exactly this many (spares a wait for the device).
        """
        first = torch.argsort((~flag_BN).to(torch.uint8), dim=1, stable=True)
        if count is not None:
            return cls(first[:, :count], None)
        counts_B = flag_BN.sum(dim=1)
        most = int(counts_B.max())
        index_BK = first[:, :most]
        even = bool((counts_B == most).all())
        return cls(index_BK, None if even else flag_BN.gather(1, index_BK))

    def take(self, values_BND: Tensor) -> Tensor:
        """The rows of ``values_BND`` (B, N, D) at these places: (B, K, D)."""
        return values_BND.gather(1, self.index_BK[:, :, None].expand(-1, -1, values_BND.shape[2]))


@dataclass(frozen=True)
class Encoding:
    """What the encoder says of a batch of windows: the CLS token and one token for each visible patch."""

    cls_BD: Float[Tensor, "B D"]
    tokens_BKD: Float[Tensor, "B K D"]
    places: Places


@dataclass(frozen=True)
class OwnCovariance:
    """Each recording's own parcel covariance outside the window, in scaled units, and from how many time points."""

    covariance_BPP: Float[Tensor, "B P P"]
    num_points_B: Float[Tensor, "B"]

    @classmethod
    def of(cls, outside: Sequence[Float[Tensor, "_ P"]], *, num_parcels: int) -> OwnCovariance:
        """Second moments of the scaled time points outside each window; zero where there are none."""
        covariance_BPP = torch.stack(
            [
                points_TP.T @ points_TP / len(points_TP)
                if len(points_TP)
                else points_TP.new_zeros(num_parcels, num_parcels)
                for points_TP in outside
            ]
        )
        num_points_B = torch.tensor([float(len(points_TP)) for points_TP in outside], device=covariance_BPP.device)
        return cls(covariance_BPP, num_points_B)

    def part(self, windows: slice) -> OwnCovariance:
        """Those of some of the windows."""
        return OwnCovariance(self.covariance_BPP[windows], self.num_points_B[windows])


@dataclass(frozen=True)
class LinearMoments:
    """What a Gaussian head knows of the scaled training data: covariance between parcels, correlation in time."""

    covariance_PP: Float[Tensor, "P P"]
    temporal_TT: Float[Tensor, "T T"]

    @classmethod
    def independent(cls, num_parcels: int, num_timepoints: int, *, device: torch.device | None = None) -> LinearMoments:
        """Nothing predicts anything: what stands in until the weights are loaded."""
        return cls(torch.eye(num_parcels, device=device), torch.eye(num_timepoints, device=device))


@dataclass(frozen=True)
class HiddenPrediction:
    """Predicted and true values of the decoded hidden patches; ``counts_BMV`` is True where the truth is real data."""

    predicted_BMV: Float[Tensor, "B M V"]
    target_BMV: Float[Tensor, "B M V"]
    counts_BMV: Bool[Tensor, "B M V"]
    places: Places

    def loss(self) -> Float[Tensor, ""]:
        """Mean squared error over the values that count: mean within each window, then over windows, so that windows
        weigh the same however they are spread over devices. A window with nothing hidden adds nothing.
        """
        squared_BMV = (self.predicted_BMV - self.target_BMV).square() * self.counts_BMV
        num_values_B = self.counts_BMV.sum(dim=(1, 2))
        return (squared_BMV.sum(dim=(1, 2)) / num_values_B.clamp(min=1)).mean()


class MaskedAutoencoder(nn.Module):
    """BrainLM's network (Ortega Caro et al., ICLR 2024) over scaled windows of P parcels x T time points.

    Inference is deterministic: nothing is masked unless a mask is given.

    Args:
        config: sizes and choices.
        order: (P,) the parcels' indices in the order in which patches gather them.
        coordinates: (P, 3) MNI mm, needed for ``spatial_positions="coordinates"``.
        linear: moments of the scaled training data, for a Gaussian head; filled in later by loading when absent.

    Raises:
        ConfigError: coordinates are needed and absent.
    """

    covariance_PP: Tensor
    temporal_TT: Tensor

    def __init__(
        self,
        config: ModelConfig,
        order: Int64[Tensor, "P"],
        *,
        coordinates: Float[Tensor, "P 3"] | None = None,
        linear: LinearMoments | None = None,
    ) -> None:
        super().__init__()
        if config.spatial_positions == "coordinates" and coordinates is None:
            raise ConfigError(
                "positions from coordinates need coordinates",
                expected="columns x, y, z in parcels.tsv",
                remedy="add them to parcels.tsv, or do without: --model.spatial_positions learned on the command line",
            )
        self.config = config
        self.tokenizer = Tokenizer(config, order)
        width, decoder_width, num_values = (
            config.encoder_width,
            config.decoder_width,
            self.tokenizer.values_per_patch,
        )
        self.embed = nn.Linear(num_values, width)
        self.encoder_positions = Positions(config, width, self.tokenizer, coordinates)
        self.cls_D = nn.Parameter(torch.empty(width))
        self.encoder = Transformer(config.encoder)
        self.to_decoder = nn.Linear(width, decoder_width)
        self.decoder_positions = Positions(config, decoder_width, self.tokenizer, coordinates)
        self.mask_D = nn.Parameter(torch.empty(decoder_width))
        self.decoder = Transformer(config.decoder)
        self.head = prediction_head(decoder_width, num_values, config.head_layers)
        if config.head != "plain":
            self.carry = nn.Linear(num_values, decoder_width)
            linear = linear or LinearMoments.independent(len(order), config.num_timepoints, device=order.device)
            self.register_buffer("covariance_PP", linear.covariance_PP.clone())
        if config.head == "space-time":
            assert linear is not None
            self.register_buffer("temporal_TT", linear.temporal_TT.clone())
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        self.apply(initialise)
        nn.init.trunc_normal_(self.cls_D, std=INIT_STD)
        nn.init.trunc_normal_(self.mask_D, std=INIT_STD)
        if self.config.head != "plain":
            last = self.head if isinstance(self.head, nn.Linear) else self.head[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)  # training starts exactly at the Gaussian conditional mean

    @property
    def num_parameters(self) -> int:
        """How many numbers training can change."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.cls_D.device

    def present(self, valid_BPT: Bool[Tensor, "B P T"]) -> Bool[Tensor, "B N"]:
        """The patches that hold any real data: those that can be hidden, scored and averaged."""
        return self.tokenizer.patches(valid_BPT).any(dim=2)

    def seen(self, valid_BPT: Bool[Tensor, "B P T"]) -> Bool[Tensor, "B N"]:
        """The patches that the encoder looks at when nothing is hidden: those with data; of an image, all."""
        present_BN = self.present(valid_BPT)
        return torch.ones_like(present_BN) if self.config.image_size else present_BN

    def present_grid(self, valid_BPT: Bool[Tensor, "B P T"]) -> Bool[Tensor, "B R C"]:
        """The same as rows (space) x columns (time): what ``masks.hide`` takes."""
        return self.present(valid_BPT).unflatten(1, (self.tokenizer.num_rows, self.tokenizer.num_columns))

    def encode(
        self,
        signal_BPT: Float[Tensor, "B P T"],
        *,
        visible: Places | None = None,
        observers: dict[int, Observer] | None = None,
    ) -> Encoding:
        """The encoding of the visible patches; of all when ``visible`` is None.

        Args:
            signal_BPT: scaled windows; what is not valid is zero.
            visible: the patches to look at, in this order (it matters to ``value_convolution`` only).
            observers: called with the queries and keys of the encoder blocks they are named for.
        """
        patches_BNV = self.tokenizer.patches(signal_BPT)
        positions_ND = self.encoder_positions()
        if visible is None:
            everything = torch.ones(patches_BNV.shape[:2], dtype=torch.bool, device=patches_BNV.device)
            visible = Places.of(everything, count=patches_BNV.shape[1])
            tokens_BKD = self.embed(patches_BNV) + positions_ND
        else:
            tokens_BKD = self.embed(visible.take(patches_BNV)) + positions_ND[visible.index_BK]
        sequence_BSD = self._with_cls(self.cls_D, tokens_BKD)
        encoded_BSD = self.encoder(sequence_BSD, present_BS=_with_true(visible.present_BK), observers=observers)
        return Encoding(cls_BD=encoded_BSD[:, 0], tokens_BKD=encoded_BSD[:, 1:], places=visible)

    def decode(
        self, encoding: Encoding, decoded: Places, base_BMV: Float[Tensor, "B M V"] | None
    ) -> Float[Tensor, "B M V"]:
        """Predicted values of the ``decoded`` patches, from the visible ones' encoding (and the Gaussian base)."""
        num_visible = encoding.tokens_BKD.shape[1]
        predicted_BMV = self.head(self._decoded_tokens(encoding, decoded, base_BMV)[:, 1 + num_visible :])
        return predicted_BMV if base_BMV is None else base_BMV + predicted_BMV

    def decode_all(self, encoding: Encoding, decoded: Places) -> Float[Tensor, "B K_M V"]:
        """What the decoder makes of the visible patches, too, then of the ``decoded`` ones; no Gaussian base."""
        return self.head(self._decoded_tokens(encoding, decoded, None)[:, 1:])

    def _decoded_tokens(
        self, encoding: Encoding, decoded: Places, base_BMV: Float[Tensor, "B M V"] | None
    ) -> Float[Tensor, "B S D"]:
        """CLS, visible and decoded tokens behind the decoder's blocks, in this order."""
        positions_ND = self.decoder_positions()
        seen_BSD = self.to_decoder(torch.cat((encoding.cls_BD[:, None], encoding.tokens_BKD), dim=1))
        visible_BKD = seen_BSD[:, 1:] + positions_ND[encoding.places.index_BK]
        hidden_BMD = self.mask_D + positions_ND[decoded.index_BK]
        if base_BMV is not None:
            hidden_BMD = hidden_BMD + self.carry(base_BMV)
        sequence_BSD = torch.cat((seen_BSD[:, :1], visible_BKD, hidden_BMD), dim=1)
        present_BS = _joined(encoding.places, decoded)
        if not self.config.value_convolution:
            return self.decoder(sequence_BSD, present_BS=present_BS)
        # Here it matters which tokens are neighbours: CLS, then all patches in raster order, what is no patch last.
        place_BS = torch.cat(
            (torch.full_like(decoded.index_BK[:, :1], -1), encoding.places.index_BK, decoded.index_BK), dim=1
        )
        if present_BS is not None:
            place_BS = place_BS.masked_fill(~present_BS, self.tokenizer.num_tokens)
        order_BS = place_BS.argsort(dim=1, stable=True)
        in_order_BSD = sequence_BSD.gather(1, order_BS[:, :, None].expand_as(sequence_BSD))
        present_in_order_BS = None if present_BS is None else present_BS.gather(1, order_BS)
        out_BSD = self.decoder(in_order_BSD, present_BS=present_in_order_BS)
        return out_BSD.gather(1, order_BS.argsort(dim=1)[:, :, None].expand_as(out_BSD))

    def forward(
        self,
        signal_BPT: Float[Tensor, "B P T"],
        valid_BPT: Bool[Tensor, "B P T"],
        hidden_BN: Bool[Tensor, "B N"],
        *,
        decoded_BN: Bool[Tensor, "B N"] | None = None,
        own: OwnCovariance | None = None,
        num_visible: int | None = None,
        num_decoded: int | None = None,
    ) -> HiddenPrediction:
        """Predict the hidden patches from the visible ones.

        Args:
            signal_BPT: scaled windows, zero where not valid.
            valid_BPT: True = real data.
            hidden_BN: the patches the encoder does not see.
            decoded_BN: the hidden patches to predict; all of them when None (fewer = sparse decoding).
            own: the recordings' own covariances, for a Gaussian head that blends them in.
            num_visible: how many patches of every window are visible, where that is one number and known.
            num_decoded: how many are decoded, likewise.
        """
        if self.config.image_size:
            # Who counts by rows and columns counts those outside the window, which are seen and never hidden.
            num_visible = num_decoded = None
        visible = Places.of(self.seen(valid_BPT) & ~hidden_BN, count=num_visible)
        decoded = Places.of(hidden_BN if decoded_BN is None else decoded_BN, count=num_decoded)
        base_BMV = None
        if self.config.head != "plain":
            base_BPT = self.gaussian_base(signal_BPT, valid_BPT & ~self.tokenizer.expand(hidden_BN), own)
            base_BMV = decoded.take(self.tokenizer.patches(base_BPT))
        predicted_BMV = self.decode(self.encode(signal_BPT, visible=visible), decoded, base_BMV)
        counts_BMV = decoded.take(self.tokenizer.patches(valid_BPT))
        if decoded.present_BK is not None:
            counts_BMV = counts_BMV & decoded.present_BK[:, :, None]
        target_BMV = decoded.take(self.tokenizer.patches(signal_BPT))
        return HiddenPrediction(predicted_BMV, target_BMV, counts_BMV, decoded)

    @torch.no_grad()
    def gaussian_base(
        self,
        signal_BPT: Float[Tensor, "B P T"],
        visible_BPT: Bool[Tensor, "B P T"],
        own: OwnCovariance | None,
    ) -> Float[Tensor, "B P T"]:
        """The Gaussian conditional mean of every value, given the visible values of its time point or of its window."""
        covariance: Tensor = self.covariance_PP
        if own is not None and self.config.own_covariance_points:
            weight_B = own.num_points_B / (own.num_points_B + self.config.own_covariance_points)
            known_B = own.covariance_BPP.diagonal(dim1=1, dim2=2).any(dim=1)
            own_BPP = sized_as(covariance, own.covariance_BPP)
            covariance = torch.lerp(covariance.expand_as(own_BPP), own_BPP, (weight_B * known_B)[:, None, None])
        if self.config.head == "space-time":
            return window_mean(covariance, self.temporal_TT, signal_BPT, visible_BPT)
        return conditional_mean(covariance, signal_BPT, visible_BPT)

    def reconstruct(
        self,
        signal_BPT: Float[Tensor, "B P T"],
        valid_BPT: Bool[Tensor, "B P T"],
        hidden_BN: Bool[Tensor, "B N"],
        *,
        own: OwnCovariance | None = None,
    ) -> Float[Tensor, "B P T"]:
        """The windows with their hidden patches replaced by what the model makes of the visible ones."""
        out = self(signal_BPT, valid_BPT, hidden_BN, own=own)
        patches_BNV = self.tokenizer.patches(signal_BPT).to(out.predicted_BMV.dtype)
        index_BMV = out.places.index_BK[:, :, None].expand_as(out.predicted_BMV)
        filled_BMV = out.predicted_BMV
        if out.places.present_BK is not None:
            filled_BMV = torch.where(out.places.present_BK[:, :, None], filled_BMV, out.target_BMV.to(filled_BMV.dtype))
        return self.tokenizer.windows(patches_BNV.scatter(1, index_BMV, filled_BMV))

    @staticmethod
    def _with_cls(cls_D: Tensor, tokens_BKD: Tensor) -> Tensor:
        return torch.cat((cls_D.expand(tokens_BKD.shape[0], 1, -1), tokens_BKD), dim=1)


def _with_true(present_BK: Tensor | None) -> Bool[Tensor, "B S"] | None:
    """The flags with one more True in front, for the CLS token."""
    if present_BK is None:
        return None
    return torch.cat((torch.ones_like(present_BK[:, :1]), present_BK), dim=1)


def _joined(visible: Places, decoded: Places) -> Bool[Tensor, "B S"] | None:
    """Flags of CLS, visible and decoded tokens in a row; None when every place is taken."""
    if visible.present_BK is None and decoded.present_BK is None:
        return None
    parts = [
        torch.ones_like(places.index_BK, dtype=torch.bool) if places.present_BK is None else places.present_BK
        for places in (visible, decoded)
    ]
    return _with_true(torch.cat(parts, dim=1))
