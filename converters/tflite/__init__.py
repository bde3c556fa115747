"""TFLite: `model.tflite`, written by our own lowering and run by LiteRT with XNNPACK."""
