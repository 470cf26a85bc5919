"""Sources of training videos; each kind gives `Recording`s."""
