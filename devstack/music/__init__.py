"""The ElevenLabs stand-in: real, short songs, the API's rules, and its ways to fail."""
