"""From a name to bundles that ship: capture, recipe, convert, prove, publish."""
