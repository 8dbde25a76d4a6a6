"""Metrics of predictions: pure functions of expected and predicted values, with numpy only."""
