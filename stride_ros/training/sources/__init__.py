"""Where training videos come from; each kind gives `Recording`s."""
