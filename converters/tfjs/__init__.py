"""TF.js: a folder with `model.json` and weight shards, run by tfjs on WebAssembly in Node."""
