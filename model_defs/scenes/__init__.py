"""Pictures made by rule, with everything about them known: depth, objects, people, saliency.

`sample(seed, height, width)` of `model_defs.scenes.sampling` draws one; the same numbers on
every run. World coordinates are metres: x right, y up, z forward.
"""
