"""Pools that run the cells of a benchmark: this process, processes of this machine, a Dask cluster."""
