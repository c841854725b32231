"""Building blocks: convolutions, parallel dilated branches, the paper's modules."""
