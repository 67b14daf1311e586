"""Other people's formats and protocols: each bridge small, each optional."""
