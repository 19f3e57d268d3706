"""What is learned of a memory's vectors to search them: rotations, routers, ids; how they serve."""
