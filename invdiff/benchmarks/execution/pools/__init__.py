"""Where the cells of a benchmark run: in this process, in processes of this machine, on a Dask cluster."""
