"""The user-item graph: normalised adjacency and LightGCN's propagation."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor


def normalised_adjacency(interactions: sp.spmatrix) -> Tensor:
    """D^-1/2 A D^-1/2 of the bipartite graph, users first, without self loops (LightGCN Eq. 8).

    Symmetric, sparse CSR, [U + I, U + I]; repeated interactions count once, nodes without edges get zero rows.
    """
    block = (interactions.tocsr() != 0).astype(np.float64)
    adjacency = sp.bmat([[None, block], [block.T, None]], format="csr")
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    scale = sp.diags(np.divide(1.0, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0))
    return sparse_tensor(scale @ adjacency @ scale)


def sparse_tensor(matrix: sp.spmatrix) -> Tensor:
    """A scipy matrix as a float32 CSR tensor."""
    rows = matrix.tocsr().astype(np.float32)
    begins, columns = (torch.from_numpy(places.astype(np.int64)) for places in (rows.indptr, rows.indices))
    return csr_tensor(begins, columns, torch.from_numpy(rows.data), rows.shape)


def csr_tensor(begins: Tensor, columns: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    """A CSR tensor without torch's remark that there are such."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(begins, columns, values, size=size, check_invariants=False)


class _Product(torch.autograd.Function):
    """A @ x for a sparse constant A whose transpose is at hand: its backward is A^T @ gradient, built once."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, matrix: Tensor, transposed: Tensor, dense: Tensor) -> Tensor:
        ctx.matrix, ctx.transposed = matrix, transposed  # type: ignore[attr-defined]
        return matrix @ dense

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[None, None, Tensor]:
        # Through apply, so that a second derivative (BiFair's implicit gradient) is possible.
        return None, None, product(ctx.transposed, ctx.matrix, gradients[0])  # type: ignore[attr-defined]


def product(matrix: Tensor, transposed: Tensor, dense: Tensor) -> Tensor:
    """A @ x for a sparse A given with its transpose, differentiable in x as often as one likes."""
    return _Product.apply(matrix, transposed, dense)  # type: ignore[no-untyped-call]


def symmetric_product(matrix: Tensor, dense: Tensor) -> Tensor:
    """A @ x for a sparse symmetric A, differentiable in x."""
    return product(matrix, matrix, dense)


def propagate(adjacency: Tensor, nodes: Tensor, layers: int) -> Tensor:
    """Mean of layers 0..L of x_{l+1} = A x_l (LightGCN Eq. 4, with equal layer weights)."""
    summed, current = nodes, nodes
    for _ in range(layers):
        current = symmetric_product(adjacency, current)
        summed = summed + current
    return summed / (layers + 1)
