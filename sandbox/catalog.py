"""What is sold, under which codes per channel, at what price, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

COLOURS = ("红色", "白色", "黑色", "蓝色")
GOODS = ("T恤", "袜子", "保温杯", "数据线", "抱枕", "笔记本", "雨伞", "帆布包", "充电器", "台灯")
SIZE = 200
SCARCE = 4
SCARCE_STOCK = 5
PLENTY = 1_000_000
# yuan-fen to the minor unit of each currency (JPY has none, KWD three decimals)
PRICE = {"USD": (14, 100), "EUR": (13, 100), "JPY": (22, 100), "KWD": (45, 100)}
# every fifth SKU has its own merchant code on the channel, so the hub needs a mapping table, not luck
OWN_CODE_EVERY = 5


@dataclass(frozen=True, slots=True)
class Sku:
    """One article. `fen` is its price in CNY minor units; `scarce` ones have a handful of pieces per warehouse."""

    number: int
    code: str
    name: str
    option: str
    fen: int
    taobao_code: str
    shopify_code: str
    scarce: bool

    def price(self, currency: str) -> int:
        """Unit price in minor units of the currency."""
        factor, divisor = PRICE[currency]
        return max(1, self.fen * factor // divisor)


@dataclass(frozen=True, slots=True)
class Site:
    """A warehouse and how it treats a repeated code: rejects | keyed | findable | unsafe."""

    code: str
    name: str
    kind: str
    province: str
    city: str
    district: str
    address: str
    contact: str
    phone: str


SITES = {
    "WH01": ("杭州仓", "浙江省", "杭州市", "余杭区", "良睦路1号", "陈仓管", "13800000010"),
    "WH02": ("广州仓", "广东省", "广州市", "白云区", "太和北路2号", "李仓管", "13800000011"),
    "WH03": ("成都仓", "四川省", "成都市", "武侯区", "桂溪大道3号", "周仓管", "13800000012"),
    "WH04": ("武汉仓", "湖北省", "武汉市", "洪山区", "关山大道4号", "胡仓管", "13800000013"),
}
DEFAULT_KINDS = {"WH01": "rejects", "WH02": "keyed", "WH03": "findable"}
KINDS = ("rejects", "keyed", "findable", "unsafe")


def make_skus(seed: str) -> list[Sku]:
    """The catalogue of a run; the last few articles are scarce."""
    rng = Random(f"{seed}:catalog")
    return [_sku(rng, number) for number in range(1, SIZE + 1)]


def _sku(rng: Random, number: int) -> Sku:
    code, own = f"SKU-{1000 + number}", number % OWN_CODE_EVERY == 0
    return Sku(
        number=number,
        code=code,
        name=f"示例{rng.choice(GOODS)}{number}",
        option=f"颜色分类:{rng.choice(COLOURS)}",
        fen=rng.randrange(990, 29900),
        taobao_code=f"TB-{number:04d}-A" if own else code,
        shopify_code=f"SH-{number:04d}" if own else code,
        scarce=number > SIZE - SCARCE,
    )


def make_sites(kinds: dict[str, str]) -> list[Site]:
    """The warehouses of a run. Raises ValueError for an unknown code or kind."""
    wrong = [f"{code}={kind}" for code, kind in kinds.items() if code not in SITES or kind not in KINDS]
    if wrong:
        raise ValueError(f"unknown warehouse or kind: {wrong}")
    return [Site(code, SITES[code][0], kind, *SITES[code][1:]) for code, kind in kinds.items()]


def item_id(sku: Sku) -> str:
    """The warehouse's own id of an article."""
    return f"WMS-{900000 + sku.number}"


def catalog_row(sku: Sku, stock: dict[str, int]) -> dict[str, object]:
    """One row of GET /_control/catalog; prices are text in major units."""
    return {
        "sku": sku.code,
        "name": sku.name,
        "option": sku.option,
        "price_cny": f"{sku.fen // 100}.{sku.fen % 100:02d}",
        "scarce": sku.scarce,
        "taobao": {
            "outer_sku_id": sku.taobao_code,
            "outer_iid": f"SPU-{1000 + sku.number}",
            "num_iid": str(612345670000 + sku.number),
            "sku_id": str(4876543210000 + sku.number),
        },
        "shopify": {
            "sku": sku.shopify_code,
            "variant_id": f"gid://shopify/ProductVariant/{44000000 + sku.number}",
            "prices_minor": {currency: sku.price(currency) for currency in PRICE},
        },
        "qimen": {"itemCode": sku.code, "itemId": item_id(sku)},
        "stock": stock,
    }
