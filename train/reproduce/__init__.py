"""The built-in weights again, from packages and photographs."""
