"""The only door to the machine: files, processes, programs, sockets, the network and the clock."""
