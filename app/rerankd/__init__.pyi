from rerankd.domain import Picture as Picture
from rerankd.python_api.reranker import RankedText as RankedText
from rerankd.python_api.reranker import Ranking as Ranking
from rerankd.python_api.reranker import Reranker as Reranker

__version__: str
