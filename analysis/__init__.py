"""What a run log says: arrays, metrics, figures. No torch, no streamlit."""
