"""What every command runs on: devices, processes, files, memory, tables."""
