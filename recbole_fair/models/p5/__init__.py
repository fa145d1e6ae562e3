"""P5 (Geng et al. 2022) and counterfactually-fair prompts for it (UP5, Hua et al. 2024)."""
