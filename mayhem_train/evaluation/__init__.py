"""From the bottom: metrics, scoring, reporting; on these stand replay (with playback), split and benchmarking."""
