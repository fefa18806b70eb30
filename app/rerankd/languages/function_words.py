"""Function words of languages in Latin script: what tells them apart in running text.

Each list holds articles, pronouns, prepositions, conjunctions, auxiliary verbs and common adverbs
from the language's grammar, in lower case and as `words_of` splits them, so that French `l'été`
has the words `l` and `été`. Names and content words are left out: they travel between languages.
"""

from __future__ import annotations

FUNCTION_WORDS: dict[str, str] = {
    "en": (
        "the of and to in a is that it for on was with as be by at this are or from his he not but"
        " which an have they you were her she there been their has had would will can if no when"
        " who what all more one so them its than then these those we our your my me him do does"
        " did how where why because about into out up only could should may must any some such"
        " other also after before between over under while through during without being i t s"
        " don isn doesn didn ll re ve just very most each both same too here now us whose whom"
    ),
    "de": (
        "der die das und in den von zu mit sich des auf für ist im dem nicht ein eine als auch es"
        " an werden aus er hat dass sie nach wird bei einer um am sind noch wie einem über einen"
        " so zum war haben nur oder aber vor zur bis mehr durch man sein wurde sei kann wenn ich"
        " wir ihr mir mich uns was wer wo warum welche dieser diese dieses diesem diesen eines"
        " keine kein wieder gegen unter zwischen ihre seine können muss soll sehr schon hier ihn"
        " ihm doch dann weil damit vom beim ohne alle zwei gibt etwa sowie jedoch dich du"
    ),
    "fr": (
        "de la le les et des en un une du dans que qui est pour par sur au plus pas ne ce il se"
        " avec sont son sa ses aux ou mais d l qu c j n s m comme elle nous vous ils elles être"
        " été a ont cette ces leur leurs même aussi sans entre sous après avant fait était peut"
        " je tu on où quel quelle quels comment pourquoi quand très bien si y dont deux tout tous"
        " toute toutes ai avoir mon ma mes votre notre donc car lors depuis chez jusqu lorsque"
        " celui celle ceux permet cela moins ainsi"
    ),
    "es": (
        "de la que el en y a los del se las por un para con no una su al es lo como más o pero"
        " sus le ha me si sin sobre este ya entre cuando todo esta ser son dos también fue había"
        " era muy años hasta desde está mi porque qué sólo solo han yo hay vez puede todos así"
        " nos ni parte tiene él uno donde dónde cómo cuál quién bien mismo ese eso esto estos"
        " estas otra otro otros ella ellos te tu usted durante según contra cada e"
        " pueden cuales mediante"
    ),
    "it": (
        "di e il la che in a per un del è una i con non si le da della sono al dei come più lo"
        " gli nel alla dal delle anche o ma ha se ed su nella ad l d un degli dell all nell sull"
        " dall alle dalla sua suo suoi sue questo questa questi queste quello quella essere stato"
        " era fu hanno ho tra fra cui molto dove chi cosa quando perché mi ti ci vi io noi lui lei"
        " loro sul sulla ogni due tutti tutto già ancora dopo prima sia può quale quali così"
        " dai dalle negli nelle ai agli c quindi"
    ),
    "pt": (
        "de a o que e do da em um para com não uma os no se na por mais as dos como mas ao ele das"
        " à seu sua ou quando muito nos já eu também só pelo pela até isso ela entre depois sem"
        " mesmo aos seus quem nas me esse eles você essa num nem suas meu minha às numa pelos elas"
        " qual nós lhe este esta foi são está ser tem há era onde porque sobre ainda pode podem"
        " estão foram sido deste desta neste nesta isto aqui cada duas dois outros outras"
        " uns umas é através pelas"
    ),
    "nl": (
        "de het een van en in is dat op te zijn met voor niet aan er om ook als dan maar bij of"
        " uit nog naar door over ze hij heeft hebben had was werd wordt worden deze dit die wat"
        " wie waar hoe waarom wanneer je jij u we wij ik mij me hun haar zich zo tot al kan kunnen"
        " moet zal zou geen meer onder tussen na tegen omdat want toen hier daar veel alle andere"
        " mijn uw ons onze deze zoals ja nu wel ben bent eerste"
    ),
    "sv": (
        "och i att det som en på är av för med till den har de inte om ett han men var jag sig"
        " från vi så kan när år under också efter eller nu sin där vid mot ska skulle kommer ut"
        " får finns vara hade alla andra mycket hon än då sedan över bara in blir upp även vad"
        " vilka vilken hur varför vem du mig dig oss er ni deras denna detta dessa mellan utan"
        " någon något några måste blev varit bli man genom samt"
    ),
    "da": (
        "og i at det som en på er af for med til den har de ikke om et han men var jeg sig fra vi"
        " så kan når år under også efter eller nu sin der ved mod skal skulle ville kommer ud får"
        " findes være havde alle andre meget hun end da siden over kun ind bliver op hvad hvilke"
        " hvilken hvordan hvorfor hvem hvor du mig dig os dem deres denne dette disse mellem uden"
        " nogen noget nogle må blev været blive man gennem samt hvis dog både"
    ),
    "no": (
        "og i at det som en på er av for med til den har de ikke om et han men var jeg seg fra vi"
        " så kan når år under også etter eller nå sin der ved mot skal skulle ville kommer ut får"
        " finnes være hadde alle andre mye hun enn da siden over bare inn blir opp hva hvilke"
        " hvilken hvordan hvorfor hvem hvor du meg deg oss dem deres denne dette disse mellom uten"
        " noen noe må ble vært bli man gjennom samt hvis dersom både ikkje eit ein eg frå"
    ),
    "is": (
        "og að í á er sem það við um til af með ekki en var fyrir hann eru frá eða þar þess hún"
        " hafa hefur þegar þá því upp ég þú við þeir þær þau sér sig svo vera verið verður nú yfir"
        " eftir undir milli hvað hver hvernig hvar hvers hafði þetta þessi þennan sína sinn síðan"
        " mjög einnig alla allt okkur mig þér má ef bara þó vegna"
    ),
    "fi": (
        "ja on ei se että hän oli mutta kun joka ovat niin myös tai kuin sen ole jos jo vain hänen"
        " jossa voi ne sekä ollut minä sinä me te he mitä mikä kuka missä miten miksi milloin tämä"
        " tämän tässä nämä siitä siinä sitä joita jotka jonka jota olla olisi ovat eivät en et"
        " kanssa mukaan jälkeen ennen sitten vielä koska eli kaikki kaikkien muut muiden hyvin"
        " voidaan voit saa pitää kuten ilman välillä aikana itse noin nyt"
    ),
    "et": (
        "ja on ei see et oli kui ka mis oma kes aga või ning selle ta nad mida seda siis veel ära"
        " kuid olid sest nii ma sa me te kus kuidas miks millal milline ole olla pole saab võib"
        " tema nende nende selles sellest need neid kõik väga juba ainult pärast enne vahel koos"
        " üks kaks mitte peab olnud läbi üle ilma kuni meie teie minu mille sellele"
    ),
    "hu": (
        "a az és hogy nem is egy ez meg volt csak már de ha mint vagy van azt el még én ki mi te"
        " ő mit aki ami amely amelyek azonban után között alatt szerint lehet kell ezt ezek azok"
        " minden nagyon sem majd fel le be mert hol hogyan miért mikor melyik milyen voltak lesz"
        " volna által való illetve így úgy pedig saját más több jelentős egyik első sok itt ott"
        " neki ezen valamint"
    ),
    "pl": (
        "i w z na do się nie że jest to o jak po za ale od przez dla co tak są czy był była było"
        " już tylko oraz przy lub jego jej ich tym które który która tego tej może ma pod bez jako"
        " być także bardzo gdy kiedy gdzie dlaczego kto czym ten ta te ci my wy ja on ona oni mnie"
        " go mu nim nią ze we nad przed między jeśli więc jednak można został została również tych"
        " ponieważ aby by ku jeszcze sobie"
    ),
    "cs": (
        "a v se na je že s z do o i to k ve pro za by ale si po jsou jako od byl byla bylo nebo co"
        " jak už jen při až ten ta tento tato tyto který která které kteří jeho její jejich jsem"
        " jste jsme může mezi také kde kdy proč kdo však podle před pod bez než aby není ze ke"
        " být mít má mají více své svou tím tom této toho ještě když proto tak nad během"
        " pouze lze protože či pokud"
    ),
    "sk": (
        "a v sa na je že s z do o i to k vo pre za by ale si po sú ako od bol bola bolo alebo čo"
        " už len pri až ten tá tento táto tieto ktorý ktorá ktoré ktorí jeho jej ich som ste sme"
        " môže medzi tiež kde kedy prečo kto však podľa pred pod bez než aby nie zo ku byť mať má"
        " majú viac svoje svoju tým tom tejto toho ešte keď preto tak nad počas iba možno pretože"
        " či ak ďalšie"
    ),
    "hr": (
        "i u je se na da za su od s o a koji koja koje kao iz do ili što nije biti bio bila bilo"
        " ali sa po sam si smo ste ne te ga mu joj ih im ovo ova ovaj taj ta to kako gdje kada"
        " zašto tko šta samo još već bi može mogu prema između nakon prije zbog ako jer kroz pri"
        " kod svoj svoje sve svi jedan vrlo više tako tijekom uz također ovog ove kojih kojim"
        " gde ko pre"
    ),
    "sl": (
        "in je v na se da za so z s ki kot pa ne ni po iz ali tudi od do bi pri o ta to bil bila"
        " bilo sem si smo ste njegov njen njihov kako kje kdaj zakaj kdo kaj samo še že lahko med"
        " pred nad pod zaradi če ker vendar zelo več tako ko ter jih ga mu ji jim svoj svoje vse"
        " vsi en ena lahko tem tega te ima imajo biti ni nekaj kateri katera"
    ),
    "ro": (
        "de și în a la cu pe care nu o un din că este se pentru ca mai sau au fost prin sunt al"
        " ai ale dar după între fi lui ei lor cel cea cei cele acest această aceste acestui acel"
        " ce cum unde când cine eu tu el ea noi voi ei mă te își îl le îi dacă doar foarte până"
        " fără sub asupra către avea are poate pot unui unei unor într dintre despre astfel fiind"
        " deci doi iar spre toate"
    ),
    "lt": (
        "ir yra į kad su iš buvo ne tai o ar bet kaip per už nuo jo jos jų apie po prie dėl iki"
        " pagal kuris kuri kurie kurios kuriame tik jau dar taip pat labai gali būti jei kai kur"
        " kas kodėl kada ką aš tu jis ji mes jūs jie tarp be nėra šis ši šio šios tas ta to šie"
        " arba buvo tačiau todėl nes savo visi viena daugiau metu bei"
    ),
    "lv": (
        "un ir no ar ka uz par bet kas kā vai tas tā to arī pēc pie līdz lai tiek bija nav ja tikai"
        " vairāk kad kur kāpēc kurš kura kuri kuras viņš viņa viņi es tu mēs jūs mani savu starp"
        " bez pirms jau vēl ļoti var būt šis šī šo tie tās gan kopā pat daudz ne dēļ iekš kā tad"
        " tomēr caur visi viens"
    ),
    "tr": (
        "ve bir bu da de için ile olarak daha çok gibi olan ne o kadar en sonra ama var mi mı mu"
        " mü değil her ya veya ise ki ben sen biz siz onlar onun bunun şu nasıl neden niçin nerede"
        " kim hangi zaman göre tarafından önce arasında ancak olduğu olduğunu oldu edilen edildi"
        " üzere diye hem hiç tüm bütün kendi yer üzerinde içinde yok iki ayrıca olup sadece"
        " olarak vardır"
    ),
    "id": (
        "yang dan di dengan untuk pada adalah dari dalam ini itu tidak ke oleh juga akan atau"
        " sebagai ada dapat karena telah lebih saat bisa mereka kami kita saya anda dia ia apa"
        " bagaimana mengapa kapan siapa mana sudah belum hanya seperti antara setelah sebelum"
        " hingga sampai namun tetapi bahwa jika maka para sebuah suatu secara banyak semua lain"
        " tersebut menjadi merupakan harus boleh tak kepada daripada ialah iaitu"
    ),
    "vi": (
        "và của là có trong được cho các với không một những người này khi đã để từ đến về tại"
        " nhưng như cũng ra vào sẽ theo bị thì mà nhiều hơn trên sau do đó còn nếu tôi bạn anh"
        " chúng họ gì sao thế nào ai đâu bằng rất phải hay hoặc nên vì lại đang năm việc số qua"
        " giữa trước cách làm"
    ),
    "ca": (
        "de la i el que a en les un per amb del és una no els al es més com se o pel però són va"
        " l d s n als dels aquest aquesta aquests aquestes també ha entre fins sobre quan on què"
        " qui com perquè seva seu seus seves ser estat han molt tot tots altres hi ho em et ens us"
        " jo tu ell ella nosaltres sense des segons durant dos després així cada si ja"
        " pot poden mitjançant qual quals"
    ),
    "gl": (
        "de a o e que do da en un para con non unha os no se na por máis as dos como pero ao das"
        " súa seu ou cando moi nos xa eu tamén só polo pola até iso ela entre despois sen mesmo"
        " aos seus quen nas é foi son está ser ten hai era onde porque sobre aínda pode poden"
        " estes esta este cara desde segundo durante outros outras unhas uns foron sendo polos"
        " deste desta cada dous"
    ),
    "eu": (
        "eta da ez bat zen du dira ere hau edo baina izan dute bere den zuen hori beste baino"
        " gehiago oso ni zu gu gara naiz zer nor non nola noiz zergatik egin egiten dago daude"
        " arte artean gainean barruan ondoren aurretik bezala bai bere beren hauek horiek haiek"
        " dituen diren duten dituzte zuten ziren izeneko batean bakarrik guztiak batzuk"
    ),
    "cy": (
        "y yr yn a o i ac ar mae am gan wedi bod oedd nid ei eu fel ond os sydd sy hefyd hwn hon"
        " hynny at dros mewn hyn rhwng cyn ôl chi ni fi nhw beth pwy pam ble sut pryd ddim gyda"
        " wrth oes roedd bydd gellir neu er mwyn drwy heb dan un na nad"
    ),
    "ga": (
        "an na agus ar i le a is go de tá do sé bhí ag as ná ach nó sin seo siad sí mé tú muid"
        " leis chun faoi gur nach níl bheith cad cé conas cathain cá fáth roimh idir don den sa"
        " san gan mar ó bhfuil raibh aon eile atá freisin"
    ),
    "sq": (
        "të e i në dhe për një me që nga është u më si ka nuk do ishte se por janë kjo ky ose nëse"
        " edhe mund duhet pas para midis ndër sipas kur ku si çfarë kush pse unë ti ai ajo ne ju"
        " ata së tij saj tyre këtë këto shumë vetëm deri pa mbi nën kishte kanë qenë cili disa"
    ),
    "af": (
        "die van en in is het dat nie op te vir met sy ʼn n wat was hy as om aan deur ook by"
        " uit sal kan hulle haar ons jy ek dit maar nog na oor tot meer toe so hierdie daardie"
        " waar hoekom hoe wanneer wie geen moet ander tussen onder sonder baie dan af een"
        " jou my hom"
    ),
    "sw": (
        "ya na wa kwa ni katika za la cha ili au kama hii huo hiyo hizo pia kuwa ambayo ambao"
        " lakini kwamba yake wake wao yao sana bila baada kabla kati hadi hapo huyu hao nani nini"
        " wapi lini vipi mimi wewe yeye sisi nyinyi si alikuwa walikuwa ilikuwa zote wote"
        " moja mwa vya kutoka"
    ),
    "tl": (
        "ang ng sa na ay mga at ni si kay para hindi ito iyon siya sila kami tayo ako ikaw ka ko mo"
        " nila niya namin natin may mayroon wala kung dahil pero o ngunit kapag nang mula hanggang"
        " isang lang din rin po ba ano sino saan kailan bakit paano pa ngayon kanyang kanilang"
        " bilang nito iba"
    ),
    "eo": (
        "la de kaj en estas al por ne kun el la ĝi kiu kiuj ke sed aŭ pri per kiel oni li ŝi ili mi"
        " vi ni tio tiu ĉi tiuj estis sur post antaŭ inter ĝis sen pli plej nur ankaŭ se kiam kie"
        " kial kio ĉar da je ĉiuj ĉiu sia ĝia povas havas estos esti tamen jam tre dum laŭ"
    ),
}
