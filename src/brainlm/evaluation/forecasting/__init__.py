"""How well the next time points are forecast: the model beside simple, linear and neural forecasts."""
