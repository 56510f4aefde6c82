"""The workflows that the demo runs, and a market whose prices wander."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

#: The least that the outputs of a condition hold: whether the actions after it run.
PASSED: Final = "passed"


@dataclass(frozen=True, slots=True)
class Tick:
    """What the nodes of one run look at: the market as it was when the run started. `price` is in USDT."""

    symbol: str
    price: float
    random: Random

    def near(self, basis_points: float) -> float:
        """A price some way off the tick's: what another exchange would quote."""
        return round(self.price * (1 + self.random.gauss(0, basis_points / 10_000)), 2)


class Market:
    """Prices that wander: a random walk with a slight pull back to where it began, so that a long demo stays believable."""

    _BEGIN: Final = {"BTC/USDT": 50_234.56, "ETH/USDT": 2_871.40, "SOL/USDT": 142.18}

    def __init__(self, random: Random) -> None:
        self._random = random
        self._prices = dict(self._BEGIN)

    def tick(self, symbol: str) -> Tick:
        """The next price of a symbol."""
        price, begin = self._prices[symbol], self._BEGIN[symbol]
        self._prices[symbol] = price * (1 + self._random.gauss(0, 0.0008)) + (begin - price) * 0.002
        return Tick(symbol, round(self._prices[symbol], 2), self._random)


Outputs = Callable[[Tick], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a workflow. It takes between `fastest_ms` and `slowest_ms`; `outputs` makes what it reports."""

    id: str
    name: str
    category: str
    fastest_ms: int
    slowest_ms: int
    outputs: Outputs


@dataclass(frozen=True, slots=True)
class Workflow:
    """Nodes in stages: those of one stage run side by side, and the next stage starts when all of them have ended."""

    id: str
    bot_id: str
    strategy_id: str
    symbol: str
    stages: tuple[tuple[Node, ...], ...]

    @property
    def node_count(self) -> int:
        return sum(len(stage) for stage in self.stages)


def _quote(tick: Tick) -> dict[str, Any]:
    return {"price": tick.near(4), "volume": round(tick.random.uniform(200, 2_500), 2)}


def _order_book(tick: Tick) -> dict[str, Any]:
    half = tick.price * tick.random.uniform(0.5, 3) / 10_000
    return {"bid": round(tick.price - half, 2), "ask": round(tick.price + half, 2), "depth": tick.random.randint(20, 400)}


def _spread(tick: Tick) -> dict[str, Any]:
    return {"spread_bps": round(abs(tick.random.gauss(9, 6)), 2)}


def _rsi(tick: Tick) -> dict[str, Any]:
    return {"rsi": round(min(95.0, max(5.0, tick.random.gauss(50, 16))), 1), "period": 14}


def _average(tick: Tick) -> dict[str, Any]:
    return {"fast": tick.near(6), "slow": tick.near(20)}


def _volatility(tick: Tick) -> dict[str, Any]:
    return {"volatility_pct": round(abs(tick.random.gauss(1.8, 0.7)), 3), "window_minutes": 60}


def _condition(share: float) -> Outputs:
    """A condition that holds in this share of the runs."""

    def outputs(tick: Tick) -> dict[str, Any]:
        passed = tick.random.random() < share
        confidence = tick.random.uniform(0.62, 0.97) if passed else tick.random.uniform(0.08, 0.55)
        return {PASSED: passed, "confidence": round(confidence, 2)}

    return outputs


def _order(side: str) -> Outputs:
    def outputs(tick: Tick) -> dict[str, Any]:
        quantity = round(tick.random.uniform(40, 900) / tick.price, 5)
        order = f"order_{tick.random.randint(100_000, 999_999)}"
        return {"order_id": order, "side": side, "price": tick.near(2), "quantity": quantity, "filled": True}

    return outputs


def _message(tick: Tick) -> dict[str, Any]:
    return {"channel": "telegram", "message_id": tick.random.randint(10_000, 99_999)}


def _feed(exchange: str) -> Node:
    return Node(f"price_{exchange.lower()}", f"{exchange} Price Feed", "providers", 18, 160, _quote)


_BOOK = Node("order_book", "Order Book Snapshot", "providers", 30, 220, _order_book)
_SPREAD = Node("spread", "Cross-Exchange Spread", "indicators", 3, 22, _spread)
_RSI = Node("rsi_14", "RSI (14)", "indicators", 6, 45, _rsi)
_AVERAGE = Node("ma_cross", "Moving Average Cross", "indicators", 5, 40, _average)
_VOLATILITY = Node("volatility", "Realised Volatility", "indicators", 12, 90, _volatility)
_NOTIFY = Node("notify", "Telegram Message", "actions", 90, 420, _message)


def _check(node_id: str, name: str, share: float) -> Node:
    return Node(node_id, name, "conditions", 1, 9, _condition(share))


def _trade(node_id: str, name: str, side: str, slowest_ms: int = 900) -> Node:
    return Node(node_id, name, "actions", 120, slowest_ms, _order(side))


def _arbitrage(workflow_id: str, symbol: str, buy_at: str, sell_at: str) -> Workflow:
    check = _check("spread_above_fees", "Spread Above Fees", 0.45)
    orders = (_trade("action_1", f"Buy on {buy_at}", "buy"), _trade("action_2", f"Sell on {sell_at}", "sell"))
    return Workflow(
        workflow_id, "bot_001", "arbitrage_v1", symbol, ((_feed(buy_at), _feed(sell_at)), (_SPREAD,), (check,), orders)
    )


def _grid(workflow_id: str, symbol: str) -> Workflow:
    check, order = _check("level_crossed", "Grid Level Crossed", 0.6), _trade("grid_order", "Place Grid Order", "buy", 1_600)
    return Workflow(workflow_id, "bot_002", "grid_v2", symbol, ((_feed("Binance"),), (_VOLATILITY,), (check,), (order,)))


def _momentum(workflow_id: str, symbol: str) -> Workflow:
    check, order = _check("trend_confirmed", "Trend Confirmed", 0.4), _trade("market_order", "Market Order", "buy")
    return Workflow(
        workflow_id, "bot_003", "momentum_v1", symbol, ((_feed("Kraken"),), (_RSI, _AVERAGE), (check,), (order, _NOTIFY))
    )


def _maker(workflow_id: str, symbol: str) -> Workflow:
    check = _check("inventory_ok", "Inventory Within Limits", 0.85)
    quotes = (_trade("quote_bid", "Quote Bid", "buy", 3_200), _trade("quote_ask", "Quote Ask", "sell", 3_200))
    return Workflow(workflow_id, "bot_004", "market_maker_v1", symbol, ((_BOOK,), (_SPREAD, _VOLATILITY), (check,), quotes))


WORKFLOWS: Final = (
    _arbitrage("arb_btc_001", "BTC/USDT", "Binance", "Kraken"),
    _arbitrage("arb_eth_002", "ETH/USDT", "Coinbase", "Binance"),
    _grid("grid_sol_003", "SOL/USDT"),
    _momentum("momentum_btc_004", "BTC/USDT"),
    _maker("maker_eth_005", "ETH/USDT"),
    _grid("grid_btc_006", "BTC/USDT"),
)

#: What goes wrong in the field: `error_type` and `error`, by the category of the node.
FAILURES: Final = {
    "providers": (("TimeoutError", "Connection timeout"), ("RateLimitError", "Rate limit exceeded: 1200 requests per minute")),
    "indicators": (("ValueError", "Not enough candles: 9 of 14"),),
    "conditions": (("KeyError", "Missing input: spread_bps"),),
    "actions": (
        ("InsufficientFundsError", "Insufficient balance: 12.40 USDT"),
        ("OrderRejectedError", "Order rejected: price moved"),
    ),
}
