"""Label Studio: sampoll as its ML backend, under /label-studio."""
