"""From a table of judged users to figures, and how sure they are; numpy only."""
