"""The flows follow their equation; a forecast is deterministic, and only training draws the latent state."""

import pytest
import torch

from brainlm.baselines.ode_forecasters import (
    NOISE_VARIANCE,
    TIME_PER_POINT,
    Flow,
    LatentODEForecaster,
    NeuralODEForecaster,
)

NUM_PARCELS, HORIZON = 6, 5
BOTH = pytest.mark.parametrize("kind", [NeuralODEForecaster, LatentODEForecaster])


@pytest.fixture
def context() -> torch.Tensor:
    return 3 + torch.randn(4, NUM_PARCELS, 20, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def valid(context) -> torch.Tensor:
    valid_BPT = torch.ones_like(context, dtype=torch.bool)
    valid_BPT[0, 2] = False
    valid_BPT[1, :, 15:] = False
    return valid_BPT


def learnt(kind: type) -> torch.nn.Module:
    """As if it had learnt something."""
    network = kind(NUM_PARCELS, HORIZON, width=8, size=4)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        network.read.weight.add_(0.3 * torch.randn(network.read.weight.shape, generator=generator))
        network.persistence.last_H.add_(0.4)
    return network.eval()


def test_the_flow_of_a_linear_equation_is_its_exponential():
    flow = Flow(4, 8)
    matrix_ZZ = torch.randn(4, 4, generator=torch.Generator().manual_seed(2))
    flow.speed = torch.nn.Linear(4, 4, bias=False)
    start_BZ = torch.randn(3, 4, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        flow.speed.weight.copy_(matrix_ZZ)
        states_BTZ = flow(start_BZ, 12)
    for step in range(12):
        expected_BZ = start_BZ @ torch.linalg.matrix_exp(matrix_ZZ * TIME_PER_POINT * (step + 1)).T
        torch.testing.assert_close(states_BTZ[:, step], expected_BZ, atol=1e-3, rtol=1e-3)


@BOTH
def test_before_it_has_learnt_it_forecasts_the_mean_of_the_context(kind, context, valid):
    forecast_BPH = kind(NUM_PARCELS, HORIZON)(context.masked_fill(~valid, 0.0), valid).detach()
    torch.testing.assert_close(forecast_BPH[1], context[1, :, :15].mean(dim=1, keepdim=True).expand(-1, HORIZON))


@BOTH
def test_what_is_not_valid_and_batch_mates_change_nothing(kind, context, valid):
    network = learnt(kind)
    together = network(context.masked_fill(~valid, 0.0), valid)
    torch.testing.assert_close(network(context.masked_fill(~valid, 99.0), valid), together)
    torch.testing.assert_close(network(context[3:], valid[3:]), together[3:])


@BOTH
def test_it_knows_no_units_and_draws_nothing(kind, context):
    network, valid_BPT = learnt(kind), torch.ones_like(context, dtype=torch.bool)
    torch.manual_seed(0)
    first = network(context, valid_BPT)
    torch.testing.assert_close(network(5 * context - 2, valid_BPT), 5 * first - 2)


@BOTH
def test_the_seed_makes_the_weights_and_leaves_other_random_numbers_alone(kind):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second, other = (kind(6, 2, seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embed.weight"], other["embed.weight"])


@BOTH
@pytest.mark.parametrize("num_parcels", [200, 424])
def test_it_stays_small(kind, num_parcels):
    assert sum(parameter.numel() for parameter in kind(num_parcels, 20).parameters()) < 150_000


def test_in_training_the_latent_state_is_drawn_from_its_distribution(context):
    network, valid_BPT = learnt(LatentODEForecaster), torch.ones_like(context, dtype=torch.bool)
    torch.manual_seed(0)
    first, second = (network.learn(context, valid_BPT).future_BPH for _ in range(2))
    assert not torch.allclose(first, second)
    with torch.no_grad():
        network.code.weight[4:] = 0.0
        network.code.bias[4:] = -40.0  # no spread left
    torch.testing.assert_close(network.learn(context, valid_BPT).future_BPH, network(context, valid_BPT))


def test_the_penalty_is_the_error_in_the_context_and_the_divergence_shared_by_all_values(context, valid):
    network = learnt(LatentODEForecaster)
    with torch.no_grad():
        network.code.weight[4:] = 0.0
        network.code.bias[4:] = -40.0
        signal = context.masked_fill(~valid, 0.0)
        found = network.learn(signal, valid).penalty
        mean_BP = signal.sum(dim=2) / valid.sum(dim=2).clamp(min=1)
        deviation = (signal - mean_BP[:, :, None]).masked_fill(~valid, 0.0)
        size_B = (deviation.square().sum(dim=(1, 2)) / valid.sum(dim=(1, 2))).sqrt()
        steps_BTP = (deviation / size_B[:, None, None]).transpose(1, 2)
        _, hidden = network.recognition(network.embed(steps_BTP.flip(1)))
        mean_BZ = network.code(hidden[0])[:, :4]
        path_BTP = network.read(network.flow(mean_BZ, 20)) * size_B[:, None, None]
        squares = (path_BTP.transpose(1, 2) - deviation)[valid].square().sum()
        divergence = 0.5 * (mean_BZ.square() - 1 + 40).sum()
        expected = (squares + 2 * NOISE_VARIANCE * divergence) / valid.sum()
    torch.testing.assert_close(found, expected)
