"""What the LSTM forecasts depends on valid values of its own context only, and starts from the context's mean."""

import pytest
import torch

from brainlm.baselines.sequence_forecasters import Framed, LSTMForecaster

NUM_PARCELS, HORIZON = 6, 5


@pytest.fixture
def context() -> torch.Tensor:
    return 3 + torch.randn(4, NUM_PARCELS, 20, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def valid(context) -> torch.Tensor:
    valid_BPT = torch.ones_like(context, dtype=torch.bool)
    valid_BPT[0, 2] = False
    valid_BPT[1, :, 15:] = False
    return valid_BPT


@pytest.fixture
def network() -> LSTMForecaster:
    """As if it had learnt something."""
    return with_words(LSTMForecaster(NUM_PARCELS, HORIZON, width=8)).eval()


def with_words(network: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        network.read.weight.add_(0.3 * torch.randn(network.read.weight.shape, generator=generator))
        network.persistence.last_H.add_(0.4)
    return network


def test_the_frame_is_that_of_the_valid_values(context, valid):
    framed = Framed.of(context.masked_fill(~valid, 0.0), valid)
    for window in range(4):
        deviations = []
        for parcel in range(NUM_PARCELS):
            values = context[window, parcel][valid[window, parcel]]
            mean = values.mean() if len(values) else torch.tensor(0.0)
            torch.testing.assert_close(framed.mean_BP[window, parcel], mean)
            deviations.append(values - mean)
        size = torch.cat(deviations).square().mean().sqrt()
        torch.testing.assert_close(framed.size_B[window], size)
        for parcel, values in enumerate(deviations):
            last = values[-1] / size if len(values) else torch.tensor(0.0)
            torch.testing.assert_close(framed.last_BP[window, parcel], last)


def test_the_forecast_is_that_of_the_cells_written_out(context, network):
    with torch.no_grad():
        found = network(context, torch.ones_like(context, dtype=torch.bool))
        mean = context.mean(dim=2, keepdim=True)
        size = (context - mean).square().mean(dim=(1, 2), keepdim=True).sqrt()
        steps_BPT = (context - mean) / size
        cell = torch.nn.LSTMCell(8, 8)
        cell.load_state_dict({name.removesuffix("_l0"): value for name, value in network.encoder.state_dict().items()})
        state = torch.zeros(4, 8), torch.zeros(4, 8)
        for step_BP in steps_BPT.unbind(dim=2):
            state = cell(network.embed(step_BP), state)
        known_BP, forecast = steps_BPT[:, :, -1], []
        for _ in range(HORIZON):
            state = network.decoder(network.embed(known_BP), state)
            known_BP = 0.4 * steps_BPT[:, :, -1] + network.read(state[0])
            forecast.append(known_BP)
        torch.testing.assert_close(found, mean + size * torch.stack(forecast, dim=2))


def test_before_it_has_learnt_it_forecasts_the_mean_of_the_context(context, valid):
    forecast_BPH = LSTMForecaster(NUM_PARCELS, HORIZON)(context.masked_fill(~valid, 0.0), valid).detach()
    for parcel in range(NUM_PARCELS):
        expected = context[1, parcel, :15].mean().expand(HORIZON)
        torch.testing.assert_close(forecast_BPH[1, parcel], expected)


def test_what_is_not_valid_and_batch_mates_change_nothing(context, valid, network):
    together = network(context.masked_fill(~valid, 0.0), valid)
    torch.testing.assert_close(network(context.masked_fill(~valid, 99.0), valid), together)
    torch.testing.assert_close(network(context[3:], valid[3:]), together[3:])


def test_it_knows_no_units(context, network):
    valid_BPT = torch.ones_like(context, dtype=torch.bool)
    torch.testing.assert_close(network(5 * context - 2, valid_BPT), 5 * network(context, valid_BPT) - 2)


def test_a_context_that_does_not_vary_is_continued_as_it_is(network):
    constant = torch.full((1, NUM_PARCELS, 20), 7.0)
    forecast_BPH = network(constant, torch.ones_like(constant, dtype=torch.bool))
    torch.testing.assert_close(forecast_BPH, torch.full((1, NUM_PARCELS, HORIZON), 7.0), atol=1e-4, rtol=0)


def test_the_seed_makes_the_weights_and_leaves_other_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second, other = (LSTMForecaster(6, 2, seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embed.weight"], other["embed.weight"])


@pytest.mark.parametrize("num_parcels", [200, 424])
def test_it_stays_small(num_parcels):
    assert sum(parameter.numel() for parameter in LSTMForecaster(num_parcels, 20).parameters()) < 150_000
