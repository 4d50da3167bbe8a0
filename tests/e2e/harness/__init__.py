"""What the end-to-end tests share: the service as a process, its databases, its surroundings."""
