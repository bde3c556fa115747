"""The pictures and inputs that models are proved, calibrated and trained on."""
