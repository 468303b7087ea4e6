"""Where jobs run: this process, processes of this machine, or a cluster."""
